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

    /**
     * The type of this name, as edgekit and TFLite write it.
     *
     * @throws ContractException It is none of these.
     */
    public static Type of(String name) throws ContractException {
      for (Type type : values()) if (type.name().equalsIgnoreCase(name)) return type;
      throw new ContractException("Tensors of " + name + " aren't known.");
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
