package dev.edgekit.classifier;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class PictureTest {
  /** A camera's buffer: gaps between rows and pixels, and none behind the last one. */
  @Test
  void rowsAndPixelsWithGaps() {
    int rowStride = 20;
    int pixelStride = 5;
    ByteBuffer buffer = ByteBuffer.allocateDirect(rowStride + 2 * pixelStride + 3);
    for (int y = 0; y < 2; y++) {
      for (int x = 0; x < 3; x++) {
        for (int c = 0; c < 3; c++) {
          buffer.put(y * rowStride + x * pixelStride + c, (byte) (100 * y + 10 * x + c));
        }
      }
    }
    buffer.position(7); // wherever it stands
    Picture picture = Picture.ofRgba(buffer, 3, 2, rowStride, pixelStride);
    byte[] wanted = {0, 1, 2, 10, 11, 12, 20, 21, 22, 100, 101, 102, 110, 111, 112, 120, 121, 122};
    assertArrayEquals(wanted, picture.rgb);
    assertEquals(7, buffer.position());
  }

  @Test
  void packedPixelsThereAndBack() {
    Picture picture = TinyModel.picture();
    assertArrayEquals(picture.rgb, Picture.ofArgb(2, 2, picture.toArgb()).rgb);
    assertEquals(0xff0a0b0c, picture.toArgb()[0]);
    assertArrayEquals(picture.rgb, Picture.ofArgb(2, 2, transparent(picture.toArgb())).rgb);
  }

  private static int[] transparent(int[] argb) {
    for (int i = 0; i < argb.length; i++) argb[i] &= 0xffffff;
    return argb;
  }

  /** A frame of one row: red, green. Turned clockwise, red is on top, and so on. */
  @Test
  void framesThatACameraTurned() {
    Picture row = Picture.ofArgb(2, 1, new int[] {0xffff0000, 0xff00ff00});
    int[][] wanted = {
      {2, 0xffff0000}, {1, 0xffff0000}, {2, 0xff00ff00}, {1, 0xff00ff00},
    };
    for (int quarter = 0; quarter < 4; quarter++) {
      Picture upright = Orientation.upright(row, Orientation.ofRotation(90 * quarter));
      assertEquals(wanted[quarter][0], upright.width);
      assertEquals(wanted[quarter][1], upright.toArgb()[0], "by " + 90 * quarter);
    }
    assertThrows(IllegalArgumentException.class, () -> Orientation.ofRotation(45));
  }

  @Test
  void largePhotosAreHalved() {
    assertEquals(1, PhotoSize.divisor(4080, 3072)); // 12 megapixels
    assertEquals(2, PhotoSize.divisor(8160, 6144)); // 50
    assertEquals(4, PhotoSize.divisor(12000, 9000)); // 108
    assertEquals(1, PhotoSize.divisor(1, 1));
    assertEquals(1 << 20, PhotoSize.divisor(Integer.MAX_VALUE, Integer.MAX_VALUE));
  }
}
