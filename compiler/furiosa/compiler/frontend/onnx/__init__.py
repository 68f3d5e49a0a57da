"""The ONNX frontend: a protobuf in, a dfg out; and host clusters back into ONNX models."""
