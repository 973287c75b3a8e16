package dev.edgekit.classifier;

/** Fits a picture to the model's input by the contract's resize rule. */
public final class Fit {
  private Fit() {}

  /** A picture of the contract's size. */
  public static Picture toInput(Picture picture, Contract contract) {
    switch (contract.fit) {
      case "crop":
        return Resize.exact(cropped(picture, contract), contract.width, contract.height);
      case "pad":
        return padded(picture, contract);
      default: // stretch
        return Resize.exact(picture, contract.width, contract.height);
    }
  }

  /** The largest centred crop with the input's aspect ratio, times the fraction. */
  private static Picture cropped(Picture picture, Contract contract) {
    int width = picture.width;
    int height = picture.height;
    if (isWider(picture, contract)) {
      width = (int) ((long) picture.height * contract.width / contract.height);
    } else {
      height = (int) ((long) picture.width * contract.height / contract.width);
    }
    height = Math.max(1, (int) (height * contract.cropFraction + 0.5));
    width = Math.max(1, (int) (width * contract.cropFraction + 0.5));
    int left = (picture.width - width) / 2;
    int top = (picture.height - height) / 2;
    return picture.cropped(left, top, width, height);
  }

  /** The whole picture as large as it fits, centred on black. */
  private static Picture padded(Picture picture, Contract contract) {
    int width = contract.width;
    int height = contract.height;
    if (isWider(picture, contract)) {
      height = (int) Math.max(1, (long) picture.height * contract.width / picture.width);
    } else {
      width = (int) Math.max(1, (long) picture.width * contract.height / picture.height);
    }
    Picture inner = Resize.exact(picture, width, height);
    byte[] canvas = new byte[3 * contract.width * contract.height];
    int left = (contract.width - width) / 2;
    int top = (contract.height - height) / 2;
    for (int y = 0; y < height; y++) {
      int to = 3 * ((top + y) * contract.width + left);
      System.arraycopy(inner.rgb, 3 * y * width, canvas, to, 3 * width);
    }
    return new Picture(contract.width, contract.height, canvas);
  }

  private static boolean isWider(Picture picture, Contract contract) {
    return (long) picture.width * contract.height >= (long) picture.height * contract.width;
  }
}
