package android.widget;

import android.content.Context;
import androidx.annotation.NonNull;
import java.util.List;

public class ArrayAdapter<T> implements SpinnerAdapter {
  public ArrayAdapter(@NonNull Context context, int resource, @NonNull List<T> objects) {
    throw new UnsupportedOperationException();
  }

  public void setDropDownViewResource(int resource) {
    throw new UnsupportedOperationException();
  }
}
