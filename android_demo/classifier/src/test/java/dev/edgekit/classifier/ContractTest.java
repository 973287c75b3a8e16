package dev.edgekit.classifier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONObject;
import org.junit.jupiter.api.Test;

/** What can't be followed is refused with a sentence, never with another exception. */
class ContractTest {
  private static void assertRefused(String json, String said) {
    String message = assertThrows(ContractException.class, () -> Contract.parse(json)).getMessage();
    assertTrue(message.contains(said), message);
  }

  @Test
  void right() throws Exception {
    Contract contract = new TinyModel().parsed();
    assertEquals("b", contract.label(1));
    assertEquals("7", contract.label(7));
  }

  @Test
  void ofANewerSchema() throws Exception {
    assertRefused(new TinyModel().document(2).toString(), "schema 2 (this app reads 1)");
  }

  @Test
  void thatEndsAnywhere() throws Exception {
    String json = new TinyModel().document(1).toString();
    for (int length = 0; length < json.length(); length++) {
      assertRefused(json.substring(0, length), "contract");
    }
  }

  @Test
  void withoutAnyOfItsValues() throws Exception {
    List<String> keys = new ArrayList<>();
    for (Iterator<?> all = new TinyModel().contract.keys(); all.hasNext(); ) {
      keys.add((String) all.next());
    }
    keys.remove("labels");
    for (String key : keys) {
      TinyModel tiny = new TinyModel();
      tiny.contract.remove(key);
      assertRefused(tiny.document(1).toString(), key);
    }
  }

  @Test
  void withValuesThatMakeNoSense() throws Exception {
    Object[][] changes = {
      {"height", 0},
      {"width", 100000},
      {"std", new JSONArray("[1, 0, 1]")},
      {"mean", new JSONArray("[1, 2]")},
      {"mean", "none"},
      {"fit", "squeeze"},
      {"colour_order", "GBR"},
      {"crop_fraction", 1.5},
      {"interpolation", "cubic"},
      {"output", "distances"},
      {"labels", new JSONObject()},
    };
    for (Object[] change : changes) {
      TinyModel tiny = new TinyModel();
      tiny.contract.put((String) change[0], change[1]);
      assertRefused(tiny.document(1).toString(), "contract");
    }
  }
}
