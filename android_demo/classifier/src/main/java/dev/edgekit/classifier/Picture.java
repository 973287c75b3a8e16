package dev.edgekit.classifier;

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
