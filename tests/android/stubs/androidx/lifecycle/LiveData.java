package androidx.lifecycle;

import androidx.annotation.NonNull;

public abstract class LiveData<T> {
  public void observe(@NonNull LifecycleOwner owner, @NonNull Observer<? super T> observer) {
    throw new UnsupportedOperationException();
  }

  public void removeObservers(@NonNull LifecycleOwner owner) {
    throw new UnsupportedOperationException();
  }
}
