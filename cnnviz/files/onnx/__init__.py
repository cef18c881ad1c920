"""An .onnx file -> a Pipeline and its Params (with the extra ``cnnviz[onnx]``)."""

from cnnviz.files.onnx.model import Model, load_onnx

__all__ = ["Model", "load_onnx"]
