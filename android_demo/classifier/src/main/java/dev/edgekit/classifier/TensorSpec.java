package dev.edgekit.classifier;

/** What a model's input or output is: its type and its quantization. */
public final class TensorSpec {
  /** The types that edgekit's classifiers have. */
  public enum Type {
    FLOAT32(4),
    INT8(1),
    UINT8(1);

    public final int bytes;

    Type(int bytes) {
      this.bytes = bytes;
    }
  }

  public final Type type;

  /** Values in all. */
  public final int size;

  /** Of a quantized tensor: real = (value - zeroPoint) * scale. */
  public final float scale;

  public final int zeroPoint;

  public TensorSpec(Type type, int size, float scale, int zeroPoint) {
    this.type = type;
    this.size = size;
    this.scale = scale;
    this.zeroPoint = zeroPoint;
  }

  public boolean isQuantized() {
    return type != Type.FLOAT32;
  }
}
