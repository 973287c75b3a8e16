package org.tensorflow.lite;

import java.util.ArrayList;
import java.util.List;

/** What the stand-ins for LiteRT do, and what was done with them. */
public final class Fake {
  /** The delegates, by the class's simple name, that are refused when an interpreter is made. */
  public static String refusedAtFirst = "";

  /** Those that are refused only when the interpreter runs. */
  public static String refusedWhenRun = "";

  /** A delegate whose native library isn't there. */
  public static String unlinked = "";

  public static int plan = 1;
  public static int errno = 0;
  public static final List<String> EVENTS = new ArrayList<>();

  public static void note(Object what, String event) {
    EVENTS.add(what.getClass().getSimpleName() + " " + event);
  }

  public static void link(Object delegate) {
    if (delegate.getClass().getSimpleName().equals(unlinked)) {
      throw new UnsatisfiedLinkError("no such library");
    }
    note(delegate, "made");
  }
}
