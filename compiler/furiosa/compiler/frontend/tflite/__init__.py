"""The TFLite frontend: a flatbuffer in, a dfg out; and host clusters back into TFLite models."""
