package dev.edgekit.demo

import android.Manifest
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Bundle
import android.provider.Settings
import android.view.View
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import androidx.core.view.ViewCompat
import androidx.core.view.WindowInsetsCompat
import dev.edgekit.classifier.Classifier
import dev.edgekit.classifier.ContractException
import dev.edgekit.classifier.ModelIndex
import dev.edgekit.classifier.SelfCheck

/** The one screen: a picture, what the model says of it, and what runs the model. */
internal class MainActivity : ComponentActivity(), Inference.Listener {
    private lateinit var preview: PreviewView
    private lateinit var seen: ImageView
    private lateinit var banner: TextView
    private lateinit var cameraMessage: TextView
    private lateinit var answerLine: TextView
    private lateinit var latency: TextView
    private lateinit var frameRate: TextView
    private lateinit var engagement: TextView
    private lateinit var check: TextView
    private lateinit var liveCamera: Button
    private lateinit var allowCamera: Button
    private lateinit var guesses: GuessList

    private lateinit var inference: Inference
    private lateinit var feed: CameraFeed
    private lateinit var choice: Choice
    private var entries = emptyList<ModelIndex.Entry>()

    /** The photo that is shown, or null for the live camera. */
    private var photo: Uri? = null

    private val askForCamera = registerForActivityResult(RequestPermission()) { showSource() }
    private val askForPhoto =
        registerForActivityResult(PickVisualMedia()) { picked ->
            if (picked != null) {
                photo = picked
                showSource()
            }
        }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        findViews()
        photo = savedInstanceState?.getString(PHOTO)?.let(Uri::parse)
        choice = Choice.restore(savedInstanceState)
        val store = ModelStore(applicationContext)
        inference = Inference(applicationContext, store, this)
        feed = CameraFeed(this, preview, inference, ::showTrouble)
        readEntries(store)
        showChoices()
        load()
        // Asked once; after a turn of the phone the answer is known.
        if (savedInstanceState == null && !isCameraAllowed()) {
            askForCamera.launch(Manifest.permission.CAMERA)
        }
    }

    /** The permission may have been changed in the settings. */
    override fun onStart() {
        super.onStart()
        showSource()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        choice.save(outState)
        outState.putString(PHOTO, photo?.toString())
    }

    override fun onDestroy() {
        feed.stop()
        inference.close()
        super.onDestroy()
    }

    private fun findViews() {
        preview = findViewById(R.id.preview)
        seen = findViewById(R.id.seen)
        banner = findViewById(R.id.banner)
        cameraMessage = findViewById(R.id.camera_message)
        answerLine = findViewById(R.id.answer)
        latency = findViewById(R.id.latency)
        frameRate = findViewById(R.id.frame_rate)
        engagement = findViewById(R.id.engagement)
        check = findViewById(R.id.check)
        liveCamera = findViewById(R.id.live_camera)
        allowCamera = findViewById(R.id.allow_camera)
        guesses = GuessList(findViewById(R.id.guesses))
        preview.scaleType = PreviewView.ScaleType.FIT_CENTER
        findViewById<Button>(R.id.pick_photo).setOnClickListener { pickPhoto() }
        liveCamera.setOnClickListener {
            photo = null
            showSource()
        }
        allowCamera.setOnClickListener { allowCamera() }
        val root = findViewById<View>(R.id.root)
        // Since Android 15 an app draws behind the bars.
        ViewCompat.setOnApplyWindowInsetsListener(root) { view, insets ->
            val kinds =
                WindowInsetsCompat.Type.systemBars() or WindowInsetsCompat.Type.displayCutout()
            val bars = insets.getInsets(kinds)
            view.setPadding(bars.left, bars.top, bars.right, bars.bottom)
            WindowInsetsCompat.CONSUMED
        }
    }

    // Models

    private fun readEntries(store: ModelStore) {
        try {
            entries = store.entries()
            if (entries.isEmpty()) showBanner(getString(R.string.no_model))
        } catch (error: ContractException) {
            showBanner(error.message)
        }
    }

    private fun showChoices() {
        choice = choice.copy(model = choice.model.coerceIn(0, maxOf(0, entries.lastIndex)))
        ChoiceLists(this).show(entries.map { it.name }, choice) { chosen ->
            if (chosen != choice) {
                choice = chosen
                load()
                classifyPhoto()
            }
        }
    }

    private fun load() {
        val entry = entries.getOrNull(choice.model) ?: return
        showBanner(null)
        engagement.text = getString(R.string.loading, entry.name)
        check.text = null
        clearAnswer()
        inference.load(entry, choice)
    }

    override fun onLoaded(engagement: String, verdict: SelfCheck.Verdict) {
        this.engagement.text = engagement
        when (verdict.kind) {
            SelfCheck.Kind.WRONG -> showBanner(getString(R.string.check_wrong, verdict.message))
            SelfCheck.Kind.RIGHT -> showCheck(verdict, R.color.text_right)
            SelfCheck.Kind.UNPROVEN -> showCheck(verdict, R.color.text_quiet)
        }
    }

    private fun showCheck(verdict: SelfCheck.Verdict, colour: Int) {
        check.text = getString(R.string.check_right, verdict.message)
        check.setTextColor(ContextCompat.getColor(this, colour))
    }

    override fun onPhotoTrouble(text: Int) = showTrouble(text)

    override fun onFailure(message: String) {
        engagement.text = null
        showBanner(message)
        clearAnswer()
    }

    // The picture: a photo or the camera

    private fun showSource() {
        val isLive = photo == null
        preview.visibility = if (isLive) View.VISIBLE else View.GONE
        seen.visibility = if (isLive) View.GONE else View.VISIBLE
        answerLine.visibility = seen.visibility
        frameRate.visibility = preview.visibility
        liveCamera.visibility = seen.visibility
        val isAllowed = isCameraAllowed()
        allowCamera.visibility = if (isLive && !isAllowed) View.VISIBLE else View.GONE
        allowCamera.setText(if (mayAsk()) R.string.allow_camera else R.string.open_settings)
        showTrouble(if (isLive && !isAllowed) R.string.camera_denied else null)
        clearAnswer()
        if (isLive && isAllowed) feed.start() else feed.stop()
        classifyPhoto()
    }

    private fun pickPhoto() {
        val request =
            PickVisualMediaRequest.Builder().setMediaType(PickVisualMedia.ImageOnly).build()
        try {
            askForPhoto.launch(request)
        } catch (_: ActivityNotFoundException) {
            showTrouble(R.string.no_picker)
        }
    }

    private fun classifyPhoto() {
        val uri = photo ?: return
        val resolver = applicationContext.contentResolver
        inference.classify { resolver.readPhoto(uri) }
    }

    private fun isCameraAllowed(): Boolean =
        ContextCompat.checkSelfPermission(this, Manifest.permission.CAMERA) ==
            PackageManager.PERMISSION_GRANTED

    /** Whether Android would still show the question; after two denials it doesn't. */
    private fun mayAsk(): Boolean = shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)

    private fun allowCamera() {
        if (mayAsk()) {
            askForCamera.launch(Manifest.permission.CAMERA)
        } else {
            val app = Uri.fromParts("package", packageName, null)
            startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, app))
        }
    }

    // What came out

    override fun onLive(answer: Classifier.Answer, speed: Inference.Speed) {
        if (photo != null) return
        guesses.show(answer.guesses)
        latency.text = getString(R.string.latency, speed.median, speed.p90, speed.preparation)
        frameRate.text =
            if (speed.framesPerSecond.isNaN()) {
                null
            } else {
                getString(R.string.frame_rate, speed.framesPerSecond)
            }
    }

    override fun onPhoto(answer: Classifier.Answer) {
        if (photo == null) return
        seen.setImageBitmap(answer.fitted.toBitmap())
        guesses.show(answer.guesses)
        answer.guesses.firstOrNull()?.let {
            answerLine.text = getString(R.string.answer, it.label, guesses.percent(it))
        }
        latency.text =
            getString(
                R.string.latency_once,
                answer.inferenceNanoseconds / 1e6,
                answer.preparationNanoseconds / 1e6,
            )
    }

    private fun clearAnswer() {
        guesses.show(emptyList())
        seen.setImageDrawable(null)
        answerLine.text = null
        latency.text = null
        frameRate.text = null
    }

    private fun showBanner(text: String?) = showOrHide(banner, text)

    private fun showTrouble(text: Int?) = showOrHide(cameraMessage, text?.let(::getString))

    private fun showOrHide(view: TextView, text: String?) {
        view.text = text
        view.visibility = if (text == null) View.GONE else View.VISIBLE
    }

    private companion object {
        const val PHOTO = "photo"
    }
}
