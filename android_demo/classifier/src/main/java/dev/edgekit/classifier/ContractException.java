package dev.edgekit.classifier;

/** A contract, a model or a golden file that can't be used, with a sentence for the user. */
public final class ContractException extends Exception {
  private static final long serialVersionUID = 1L;

  public ContractException(String message) {
    super(message);
  }

  public ContractException(String message, Throwable cause) {
    super(message, cause);
  }
}
