package android.widget;

import android.content.Context;
import android.graphics.Bitmap;
import android.graphics.drawable.Drawable;
import android.view.View;
import androidx.annotation.Nullable;

public class ImageView extends View {
  public ImageView(Context context) {
    super(context);
  }

  public void setImageBitmap(Bitmap bitmap) {
    throw new UnsupportedOperationException();
  }

  public void setImageDrawable(@Nullable Drawable drawable) {
    throw new UnsupportedOperationException();
  }
}
