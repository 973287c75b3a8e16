package dev.edgekit.classifier;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Writes fitted pictures into a model's input: a look-up table of 256 x 3 entries does all of
 * normalization and quantization. Where the channels share mean and std and the input has the pinned
 * scale, an int8 entry is {@code pixel - 128}.
 */
public final class InputTable {
  private static final double CLOSE = 1e-6;

  private final Contract contract;
  private final TensorSpec input;

  /** float32 input for every pixel value, channel by channel in the model's order. */
  private final float[][] real;

  private final byte[][] quantized;

  /**
   * @throws ContractException The input has another size than the contract.
   */
  public InputTable(Contract contract, TensorSpec input) throws ContractException {
    this.contract = contract;
    this.input = input;
    if (input.size != 3 * contract.width * contract.height) {
      throw new ContractException(
          "The model takes "
              + input.size
              + " values, the contract says "
              + contract.width
              + " x "
              + contract.height
              + " x 3.");
    }
    real = new float[3][256];
    for (int c = 0; c < 3; c++) {
      for (int pixel = 0; pixel < 256; pixel++) {
        real[c][pixel] = (pixel - (float) contract.mean[c]) / (float) contract.std[c];
      }
    }
    quantized = input.isQuantized() ? quantize() : null;
  }

  /** The input's bytes, in the order of this machine. */
  public void write(Picture fitted, ByteBuffer into) {
    into.order(ByteOrder.nativeOrder());
    Buffers.rewind(into);
    byte[] rgb = fitted.rgb;
    for (int i = 0; i < rgb.length; i += 3) {
      for (int c = 0; c < 3; c++) {
        int pixel = rgb[i + (contract.isBgr ? 2 - c : c)] & 0xff;
        if (quantized != null) {
          into.put(quantized[c][pixel]);
        } else {
          into.putFloat(real[c][pixel]);
        }
      }
    }
    Buffers.rewind(into);
  }

  private byte[][] quantize() {
    int lowest = input.type == TensorSpec.Type.INT8 ? -128 : 0;
    double[] pinned = pinnedQuantization();
    double scale = input.scale;
    int zeroPoint = input.zeroPoint;
    boolean isPinned =
        zeroPoint == (int) pinned[1] + lowest + 128
            && Math.abs(scale - pinned[0]) <= CLOSE * Math.max(scale, pinned[0]);
    byte[][] table = new byte[3][256];
    for (int c = 0; c < 3; c++) {
      for (int pixel = 0; pixel < 256; pixel++) {
        int value;
        if (isPinned && isUniform()) {
          value = pixel + lowest;
        } else if (isPinned) {
          value = step(c, pixel, pinned[0], (int) pinned[1], -128) + lowest + 128;
        } else {
          value = step(c, pixel, scale, zeroPoint, lowest);
        }
        table[c][pixel] = (byte) value;
      }
    }
    return table;
  }

  private int step(int channel, int pixel, double scale, int zeroPoint, int lowest) {
    double exact = Math.rint(real[channel][pixel] / scale) + zeroPoint;
    return (int) Math.min(Math.max(exact, lowest), lowest + 255);
  }

  /** {scale, zero point} of an int8 input: Contract.int8_quantization of edgekit. */
  private double[] pinnedQuantization() {
    if (isUniform()) {
      return new double[] {
        (float) (1.0 / contract.std[0]), Math.floor(contract.mean[0]) - 128
      };
    }
    double low = 0;
    double high = 0;
    for (float[] channel : real) {
      for (float value : channel) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    double scale = (float) ((high - low) / 255.0);
    double zeroPoint = Math.rint(-128 - low / scale);
    return new double[] {scale, Math.min(Math.max(zeroPoint, -128), 127)};
  }

  private boolean isUniform() {
    return contract.mean[0] == contract.mean[1]
        && contract.mean[0] == contract.mean[2]
        && contract.std[0] == contract.std[1]
        && contract.std[0] == contract.std[2]
        && contract.mean[0] >= 0
        && contract.mean[0] < 256;
  }
}
