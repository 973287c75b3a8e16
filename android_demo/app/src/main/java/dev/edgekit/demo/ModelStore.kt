package dev.edgekit.demo

import android.content.Context
import dev.edgekit.classifier.ContractException
import dev.edgekit.classifier.ModelIndex
import java.io.FileInputStream
import java.io.IOException
import java.io.InputStream
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel

/** The models in the app's assets. What can't be read is a [ContractException], with a sentence. */
internal class ModelStore(private val context: Context) {
    /** All models; none in an app that nothing was bundled with. */
    fun entries(): List<ModelIndex.Entry> {
        val files = reading(INDEX) { context.assets.list(FOLDER) }
        return if (files != null && INDEX in files) ModelIndex.parse(text(INDEX)) else emptyList()
    }

    fun text(name: String): String =
        reading(name) { open(name).use { it.readBytes().toString(Charsets.UTF_8) } }

    fun open(name: String): InputStream = reading(name) { context.assets.open("$FOLDER/$name") }

    /** The file's pages in memory, read when they are used; it must be stored uncompressed. */
    fun map(name: String): MappedByteBuffer =
        reading(name) {
            context.assets.openFd("$FOLDER/$name").use { file ->
                FileInputStream(file.fileDescriptor).use {
                    it.channel.map(
                        FileChannel.MapMode.READ_ONLY,
                        file.startOffset,
                        file.declaredLength,
                    )
                }
            }
        }

    private inline fun <T> reading(name: String, read: () -> T): T =
        try {
            read()
        } catch (error: IOException) {
            throw ContractException(
                context.getString(R.string.asset_unreadable, name, error.message.orEmpty()),
                error,
            )
        }

    private companion object {
        const val FOLDER = "models"
        const val INDEX = "index.json"
    }
}
