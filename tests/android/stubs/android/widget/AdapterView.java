package android.widget;

import android.content.Context;
import android.view.View;
import android.view.ViewGroup;
import androidx.annotation.Nullable;

public abstract class AdapterView<T extends Adapter> extends ViewGroup {
  public AdapterView(Context context) {
    super(context);
  }

  public abstract T getAdapter();

  public abstract void setAdapter(T adapter);
  public abstract void setSelection(int position);

  public void setOnItemSelectedListener(@Nullable OnItemSelectedListener listener) {
    throw new UnsupportedOperationException();
  }

  @Nullable
  public final OnItemSelectedListener getOnItemSelectedListener() {
    throw new UnsupportedOperationException();
  }

  public interface OnItemSelectedListener {
    void onItemSelected(AdapterView<?> parent, View view, int position, long id);

    void onNothingSelected(AdapterView<?> parent);
  }
}
