package android.os;

import androidx.annotation.Nullable;

public final class Bundle {
  public int getInt(String key) {
    throw new UnsupportedOperationException();
  }

  @Nullable
  public String getString(@Nullable String key) {
    throw new UnsupportedOperationException();
  }

  public void putInt(@Nullable String key, int value) {
    throw new UnsupportedOperationException();
  }

  public void putString(@Nullable String key, @Nullable String value) {
    throw new UnsupportedOperationException();
  }
}
