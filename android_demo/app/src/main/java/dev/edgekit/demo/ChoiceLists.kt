package dev.edgekit.demo

import android.app.Activity
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Spinner
import dev.edgekit.classifier.Engagement.Request

/** The lists of models, delegates and threads. */
internal class ChoiceLists(private val activity: Activity) {
    /** Shows a choice; tells what the user makes of it, and once or more what it was. */
    fun show(models: List<String>, choice: Choice, onChoice: (Choice) -> Unit) {
        var current = choice
        fun change(to: Choice) {
            current = to
            onChoice(to)
        }
        fill(R.id.model, models, choice.model) { change(current.copy(model = it)) }
        fill(R.id.delegate, REQUESTS.map { activity.getString(it.second) }, placeOf(choice)) {
            change(current.copy(request = REQUESTS[it].first))
        }
        fill(
            R.id.threads,
            Choice.THREAD_COUNTS.map(Int::toString),
            Choice.THREAD_COUNTS.indexOf(choice.threads),
        ) {
            change(current.copy(threads = Choice.THREAD_COUNTS[it]))
        }
    }

    private fun placeOf(choice: Choice) = REQUESTS.indexOfFirst { it.first == choice.request }

    private fun fill(id: Int, texts: List<String>, place: Int, onPlace: (Int) -> Unit) {
        val spinner = activity.findViewById<Spinner>(id)
        val adapter = ArrayAdapter(activity, android.R.layout.simple_spinner_item, texts)
        adapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
        spinner.adapter = adapter
        spinner.isEnabled = texts.isNotEmpty()
        spinner.setSelection(place)
        spinner.onItemSelectedListener =
            object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(
                    parent: AdapterView<*>?,
                    view: View?,
                    position: Int,
                    id: Long,
                ) = onPlace(position)

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
    }

    private companion object {
        val REQUESTS =
            listOf(
                Request.XNNPACK to R.string.delegate_xnnpack,
                Request.CPU to R.string.delegate_cpu,
                Request.GPU to R.string.delegate_gpu,
                Request.NNAPI to R.string.delegate_nnapi,
            )
    }
}
