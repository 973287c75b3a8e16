package android.widget;

import android.content.Context;

public class Spinner extends AdapterView<SpinnerAdapter> {
  public Spinner(Context context) {
    super(context);
  }

  @Override
  public SpinnerAdapter getAdapter() {
    throw new UnsupportedOperationException();
  }

  @Override
  public void setAdapter(SpinnerAdapter adapter) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void setSelection(int position) {
    throw new UnsupportedOperationException();
  }
}
