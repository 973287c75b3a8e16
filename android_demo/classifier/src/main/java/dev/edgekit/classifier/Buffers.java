package dev.edgekit.classifier;

import java.nio.Buffer;

/**
 * Calls that ByteBuffer overrides since Java 9 with itself as the result. Compiled against such a
 * ByteBuffer they name a method that Android has only since version 9, and end the app on older
 * ones with a NoSuchMethodError. Through Buffer they name the one that all have.
 */
final class Buffers {
  private Buffers() {}

  static void rewind(Buffer buffer) {
    buffer.rewind();
  }

  static void position(Buffer buffer, int position) {
    buffer.position(position);
  }

  static void limit(Buffer buffer, int limit) {
    buffer.limit(limit);
  }
}
