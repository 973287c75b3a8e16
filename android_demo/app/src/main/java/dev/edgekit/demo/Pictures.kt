package dev.edgekit.demo

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.net.Uri
import androidx.camera.core.ImageProxy
import androidx.exifinterface.media.ExifInterface
import dev.edgekit.classifier.ContractException
import dev.edgekit.classifier.Orientation
import dev.edgekit.classifier.PhotoSize
import dev.edgekit.classifier.Picture
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer

/** A camera's frame, upright. The caller closes it. */
internal fun ImageProxy.toPicture(): Picture {
    val plane = planes[0]
    val stored =
        Picture.ofRgba(plane.buffer, width, height, plane.rowStride, plane.pixelStride)
    return Orientation.upright(stored, Orientation.ofRotation(imageInfo.rotationDegrees))
}

/** Decodes a PNG file of the golden vectors. */
internal fun decodePng(png: ByteArray): Picture =
    BitmapFactory.decodeByteArray(png, 0, png.size, decoding())?.toPicture()
        ?: throw ContractException("a golden picture can't be decoded.")

/**
 * A photo that the user picked, upright.
 *
 * @throws IOException It is gone, or no picture.
 */
internal fun ContentResolver.readPhoto(uri: Uri): Picture {
    val size = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    reading(uri) { BitmapFactory.decodeStream(it, null, size) }
    if (size.outWidth < 1 || size.outHeight < 1) throw IOException("$uri is no picture")
    val divisor = PhotoSize.divisor(size.outWidth, size.outHeight)
    val stored =
        reading(uri) { BitmapFactory.decodeStream(it, null, decoding(divisor)) }?.toPicture()
            ?: throw IOException("$uri can't be decoded")
    val orientation =
        reading(uri) {
            ExifInterface(it)
                .getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
        }
    return Orientation.upright(stored, orientation)
}

internal fun Picture.toBitmap(): Bitmap =
    Bitmap.createBitmap(toArgb(), width, height, Bitmap.Config.ARGB_8888)

/**
 * The file's own numbers: nothing is scaled to the screen, multiplied by alpha, or converted to
 * another colour space. Neither does edgekit on the desk.
 */
private fun decoding(divisor: Int = 1) =
    BitmapFactory.Options().apply {
        inPreferredConfig = Bitmap.Config.ARGB_8888
        inPremultiplied = false
        inSampleSize = divisor
        inScaled = false
    }

private fun Bitmap.toPicture(): Picture {
    if (config != Bitmap.Config.ARGB_8888) throw IOException("decoded as $config")
    // Not getPixels, which converts to sRGB.
    val rgba = ByteBuffer.allocateDirect(rowBytes * height)
    copyPixelsToBuffer(rgba)
    return Picture.ofRgba(rgba, width, height, rowBytes, 4)
}

private inline fun <T> ContentResolver.reading(uri: Uri, read: (InputStream) -> T): T =
    (openInputStream(uri) ?: throw FileNotFoundException("$uri is gone")).use(read)
