package dev.edgekit.classifier;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import javax.imageio.ImageIO;

/** The JVM's decoder in the place of Android's. */
final class PngDecoder {
  private PngDecoder() {}

  static Picture decode(byte[] png) throws ContractException {
    try {
      BufferedImage image = ImageIO.read(new ByteArrayInputStream(png));
      if (image == null) throw new ContractException("a golden picture can't be decoded.");
      int width = image.getWidth();
      int height = image.getHeight();
      return Picture.ofArgb(width, height, image.getRGB(0, 0, width, height, null, 0, width));
    } catch (IOException error) {
      throw new ContractException("a golden picture can't be decoded.", error);
    }
  }
}
