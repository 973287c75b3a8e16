package android.view;

public final class Display {
  public int getDisplayId() {
    throw new UnsupportedOperationException();
  }

  public int getRotation() {
    throw new UnsupportedOperationException();
  }
}
