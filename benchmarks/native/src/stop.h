// Signals: a first Ctrl-C ends the run after the inference under way, a second one at once; a crash
// of the runtime still leaves a document.
#pragma once

#include <string>

namespace edgekit {

// To be called once, before anything else. `document` is where documents go (see stop.cc).
void InstallSignalHandlers(int document);

bool StopRequested();

// What is being done, for the document that a crash leaves.
void SetPhase(const std::string& phase);

// The document is out: from now on a crash or Ctrl-C ends the process with this code and no word.
void DocumentWritten(int exit_code);

}  // namespace edgekit
