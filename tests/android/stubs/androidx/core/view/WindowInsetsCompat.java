package androidx.core.view;

import androidx.annotation.NonNull;
import androidx.core.graphics.Insets;

public class WindowInsetsCompat {
  @NonNull public static final WindowInsetsCompat CONSUMED = new WindowInsetsCompat();
  @NonNull
  public Insets getInsets(int types) {
    throw new UnsupportedOperationException();
  }

  public static final class Type {
    public static int systemBars() {
      throw new UnsupportedOperationException();
    }

    public static int displayCutout() {
      throw new UnsupportedOperationException();
    }
  }
}
