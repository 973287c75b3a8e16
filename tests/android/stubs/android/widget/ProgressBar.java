package android.widget;

import android.content.Context;
import android.view.View;

public class ProgressBar extends View {
  public ProgressBar(Context context) {
    super(context);
  }

  public synchronized int getMax() {
    throw new UnsupportedOperationException();
  }

  public synchronized int getProgress() {
    throw new UnsupportedOperationException();
  }

  public synchronized void setProgress(int progress) {
    throw new UnsupportedOperationException();
  }
}
