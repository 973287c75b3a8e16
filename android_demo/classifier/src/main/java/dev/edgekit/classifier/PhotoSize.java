package dev.edgekit.classifier;

/** How large photos are decoded. */
public final class PhotoSize {
  /**
   * What a phone's camera gives by default, 12 megapixels, is decoded in full: its pixels are in
   * memory twice for a moment, with 4 and with 3 bytes each, about 90 MB.
   */
  public static final int MOST_PIXELS = 13_000_000;

  private PhotoSize() {}

  /**
   * By what power of two the decoder shall divide both sides. Above 1 it averages pixels in its own
   * way, and the scores may differ a little from those of the desk.
   */
  public static int divisor(int width, int height) {
    int divisor = 1;
    while ((long) (width / divisor) * (height / divisor) > MOST_PIXELS) divisor *= 2;
    return divisor;
  }
}
