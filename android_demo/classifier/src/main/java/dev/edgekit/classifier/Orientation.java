package dev.edgekit.classifier;

/** EXIF orientations 1 to 8 (CIPA DC-008, tag 0x0112): how stored pixels become upright ones. */
public final class Orientation {
  private Orientation() {}

  /**
   * The orientation of a frame that stands upright once it is turned clockwise, as CameraX tells it.
   *
   * @param degrees 0, 90, 180 or 270.
   */
  public static int ofRotation(int degrees) {
    switch (degrees) {
      case 0:
        return 1;
      case 90:
        return 6;
      case 180:
        return 3;
      case 270:
        return 8;
      default:
        throw new IllegalArgumentException("a frame turned by " + degrees + " degrees");
    }
  }

  /** The upright picture; an orientation that isn't 2 to 8 leaves it as it is. */
  public static Picture upright(Picture stored, int orientation) {
    if (orientation < 2 || orientation > 8) return stored;
    boolean turned = orientation >= 5;
    int width = turned ? stored.height : stored.width;
    int height = turned ? stored.width : stored.height;
    byte[] rgb = new byte[stored.rgb.length];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        int from = 3 * source(stored, orientation, x, y);
        System.arraycopy(stored.rgb, from, rgb, 3 * (y * width + x), 3);
      }
    }
    return new Picture(width, height, rgb);
  }

  /** The stored pixel that stands at (x, y) of the upright picture. */
  private static int source(Picture stored, int orientation, int x, int y) {
    int right = stored.width - 1;
    int bottom = stored.height - 1;
    switch (orientation) {
      case 2:
        return y * stored.width + right - x;
      case 3:
        return (bottom - y) * stored.width + right - x;
      case 4:
        return (bottom - y) * stored.width + x;
      case 5:
        return x * stored.width + y;
      case 6:
        return (bottom - x) * stored.width + y;
      case 7:
        return (bottom - x) * stored.width + right - y;
      default: // 8
        return x * stored.width + right - y;
    }
  }
}
