package dev.edgekit.classifier;

import java.nio.ByteBuffer;

/** Pixels: 8-bit RGB, row by row, without gaps. */
public final class Picture {
  public final int width;
  public final int height;

  /** height x width x 3 bytes. */
  public final byte[] rgb;

  public Picture(int width, int height, byte[] rgb) {
    if (width < 1 || height < 1 || rgb.length != 3L * width * height) {
      throw new IllegalArgumentException(
          rgb.length + " bytes are no picture of " + width + " x " + height);
    }
    this.width = width;
    this.height = height;
    this.rgb = rgb;
  }

  /**
   * A picture of Android's packed pixels (0xAARRGGBB), as Bitmap.getPixels gives them. Alpha is
   * dropped.
   */
  public static Picture ofArgb(int width, int height, int[] argb) {
    byte[] rgb = new byte[3 * width * height];
    for (int i = 0, at = 0; i < width * height; i++) {
      rgb[at++] = (byte) (argb[i] >> 16);
      rgb[at++] = (byte) (argb[i] >> 8);
      rgb[at++] = (byte) argb[i];
    }
    return new Picture(width, height, rgb);
  }

  /**
   * A picture of bytes R, G, B, A with gaps, as CameraX and Bitmap.copyPixelsToBuffer give them.
   * Alpha is dropped.
   *
   * @param rowStride Bytes from one row to the next.
   * @param pixelStride Bytes from one pixel to the next.
   */
  public static Picture ofRgba(
      ByteBuffer rgba, int width, int height, int rowStride, int pixelStride) {
    byte[] rgb = new byte[3 * width * height];
    // One copy of a row instead of a call for each byte: frames come 30 times a second. Of the last
    // row there may be no more than its pixels.
    byte[] row = new byte[(width - 1) * pixelStride + 3];
    ByteBuffer source = rgba.duplicate();
    for (int y = 0, at = 0; y < height; y++) {
      Buffers.position(source, y * rowStride);
      source.get(row);
      for (int from = 0; from < row.length; from += pixelStride) {
        rgb[at++] = row[from];
        rgb[at++] = row[from + 1];
        rgb[at++] = row[from + 2];
      }
    }
    return new Picture(width, height, rgb);
  }

  /** Android's packed pixels (0xAARRGGBB), without transparency. */
  public int[] toArgb() {
    int[] argb = new int[width * height];
    for (int i = 0, at = 0; i < argb.length; i++) {
      argb[i] =
          0xff << 24 | (rgb[at++] & 0xff) << 16 | (rgb[at++] & 0xff) << 8 | rgb[at++] & 0xff;
    }
    return argb;
  }

  /** A part of it. */
  Picture cropped(int left, int top, int newWidth, int newHeight) {
    if (left == 0 && top == 0 && newWidth == width && newHeight == height) return this;
    byte[] part = new byte[3 * newWidth * newHeight];
    for (int y = 0; y < newHeight; y++) {
      System.arraycopy(rgb, 3 * ((top + y) * width + left), part, 3 * y * newWidth, 3 * newWidth);
    }
    return new Picture(newWidth, newHeight, part);
  }
}
