package android.net;

import androidx.annotation.Nullable;

public abstract class Uri {
  public static Uri parse(String text) {
    throw new UnsupportedOperationException();
  }

  public static Uri fromParts(String scheme, String part, @Nullable String fragment) {
    throw new UnsupportedOperationException();
  }

  public abstract String toString();
}
