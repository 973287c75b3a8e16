#include "stop.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "failure.h"
#include "json.h"
#include "text.h"

namespace edgekit {
namespace {

volatile sig_atomic_t g_stop = 0;
volatile sig_atomic_t g_written_code = -1;
int g_document = STDOUT_FILENO;

// A handler may neither allocate nor format: what it writes is made ready whenever the phase
// changes, with room for the signal's number between the two halves.
char g_before[512], g_after[512], g_line[256];
alignas(16) char g_stack[16 << 10];

void OnStop(int) {
  if (g_written_code >= 0) _exit(g_written_code);
  if (g_stop != 0) _exit(kInterrupted);
  g_stop = 1;
}

void Put(int file, const char* text) {
  if (write(file, text, strlen(text)) < 0) _exit(kRuntimeFailed);
}

void OnCrash(int signal) {
  if (g_written_code >= 0) _exit(g_written_code);
  const char number[] = {static_cast<char>('0' + signal / 10), static_cast<char>('0' + signal % 10),
                         '\0'};
  Put(g_document, g_before);
  Put(g_document, number);
  Put(g_document, g_after);
  Put(STDERR_FILENO, g_line);
  Put(STDERR_FILENO, number);
  Put(STDERR_FILENO, ")\n");
  _exit(kRuntimeFailed);
}

void Copy(const std::string& text, char* into, size_t size) {
  const size_t length = text.size() < size ? text.size() : size - 1;
  memcpy(into, text.data(), length);
  into[length] = '\0';
}

}  // namespace

void InstallSignalHandlers(int document) {
  g_document = document;
  struct sigaction action = {};
  action.sa_handler = OnStop;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  stack_t stack = {};
  stack.ss_sp = g_stack;
  stack.ss_size = sizeof(g_stack);
  sigaltstack(&stack, nullptr);
  action.sa_handler = OnCrash;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    sigaction(signal, &action, nullptr);
  }
  SetPhase("starting");
}

void DocumentWritten(int exit_code) { g_written_code = exit_code; }

bool StopRequested() { return g_stop != 0; }

void SetPhase(const std::string& phase) {
  const std::string message = "the process crashed while " + phase + " (signal ";
  const std::string quoted = Quote(message);
  Copy("{\"schema\": \"edgekit.bench/1\", \"status\": \"error\", \"error\": {\"message\": " +
           quoted.substr(0, quoted.size() - 1),
       g_before, sizeof(g_before));
  Copy(Format(")\", \"hint\": \"The model, the runtime or a delegate is damaged, or not meant for "
              "this processor.\", \"exit_code\": %d}}\n",
              kRuntimeFailed),
       g_after, sizeof(g_after));
  Copy("error: " + message, g_line, sizeof(g_line));
}

}  // namespace edgekit
