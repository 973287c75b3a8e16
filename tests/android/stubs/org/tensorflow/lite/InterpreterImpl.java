package org.tensorflow.lite;

/** Not public, as the true one. */
class InterpreterImpl implements AutoCloseable {
  int getExecutionPlanLength() {
    return Fake.plan;
  }

  @Override
  public void close() {
    Fake.note(this, "closed");
  }
}
