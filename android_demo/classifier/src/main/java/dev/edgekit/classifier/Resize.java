package dev.edgekit.classifier;

/**
 * The resize that contracts call {@code exact}: whole numbers only, the same in every byte wherever
 * it runs.
 *
 * <p>In a direction in which the picture is at least twice the size, boxes of {@code floor(size /
 * target)} pixels are averaged (half the area is added, then floor-divided). Then it is interpolated
 * linearly as OpenCV's INTER_LINEAR_EXACT does: weights in 256ths, rounded half to even; the sums
 * rounded once, half up.
 */
final class Resize {
  private Resize() {}

  static Picture exact(Picture picture, int width, int height) {
    Picture boxed = averaged(picture, picture.width / width, picture.height / height);
    if (boxed.width == width && boxed.height == height) return boxed;
    return interpolated(boxed, width, height);
  }

  private static Picture averaged(Picture picture, int factorX, int factorY) {
    int across = Math.max(factorX, 1);
    int down = Math.max(factorY, 1);
    if (across == 1 && down == 1) return picture;
    int width = picture.width / across;
    int height = picture.height / down;
    // What fills no box is cut off evenly at both sides.
    int left = (picture.width - width * across) / 2;
    int top = (picture.height - height * down) / 2;
    long area = (long) across * down;
    byte[] result = new byte[3 * width * height];
    long[] sums = new long[3 * width];
    for (int y = 0; y < height; y++) {
      java.util.Arrays.fill(sums, 0);
      for (int row = top + y * down; row < top + (y + 1) * down; row++) {
        int at = 3 * (row * picture.width + left);
        for (int x = 0; x < width; x++) {
          for (int i = 0; i < across; i++) {
            sums[3 * x] += picture.rgb[at++] & 0xff;
            sums[3 * x + 1] += picture.rgb[at++] & 0xff;
            sums[3 * x + 2] += picture.rgb[at++] & 0xff;
          }
        }
      }
      for (int i = 0; i < sums.length; i++) {
        result[3 * y * width + i] = (byte) ((sums[i] + area / 2) / area);
      }
    }
    return new Picture(width, height, result);
  }

  private static Picture interpolated(Picture picture, int width, int height) {
    Taps columns = new Taps(picture.width, width);
    Taps rows = new Taps(picture.height, height);
    byte[] result = new byte[3 * width * height];
    int[] first = new int[3 * width];
    int[] second = new int[3 * width];
    for (int y = 0; y < height; y++) {
      line(picture, rows.first[y], columns, first);
      line(picture, rows.second[y], columns, second);
      int weight = rows.weight[y];
      for (int i = 0; i < first.length; i++) {
        int sum = first[i] * (256 - weight) + second[i] * weight;
        result[3 * y * width + i] = (byte) ((sum + (1 << 15)) >> 16);
      }
    }
    return new Picture(width, height, result);
  }

  /** A row interpolated horizontally, in 256ths of a grey level. */
  private static void line(Picture picture, int row, Taps columns, int[] into) {
    int start = 3 * row * picture.width;
    for (int x = 0; x < columns.weight.length; x++) {
      int a = start + 3 * columns.first[x];
      int b = start + 3 * columns.second[x];
      int weight = columns.weight[x];
      for (int c = 0; c < 3; c++) {
        into[3 * x + c] =
            (picture.rgb[a + c] & 0xff) * (256 - weight) + (picture.rgb[b + c] & 0xff) * weight;
      }
    }
  }

  /** For each target pixel the two source pixels, and the weight of the second in 256ths. */
  private static final class Taps {
    final int[] first;
    final int[] second;
    final int[] weight;

    Taps(int source, int target) {
      first = new int[target];
      second = new int[target];
      weight = new int[target];
      long denominator = 2L * target;
      for (int x = 0; x < target; x++) {
        // Pixel centres meet: (x + 1/2) * source / target - 1/2.
        long place = (long) source * (2L * x + 1) - target;
        long left = Math.floorDiv(place, denominator);
        if (left < 0) continue; // the border is repeated: all of the first pixel
        if (left >= source - 1) {
          first[x] = second[x] = source - 1;
          continue;
        }
        first[x] = (int) left;
        second[x] = (int) left + 1;
        weight[x] = (int) roundedHalfToEven(256 * (place - left * denominator), denominator);
      }
    }

    private static long roundedHalfToEven(long numerator, long denominator) {
      long down = numerator / denominator;
      long rest = 2 * (numerator - down * denominator);
      if (rest > denominator || (rest == denominator && down % 2 == 1)) return down + 1;
      return down;
    }
  }
}
