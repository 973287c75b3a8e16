package dev.edgekit.classifier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ModelIndexTest {
  private final ByteBuffer file = ByteBuffer.wrap(new byte[] {1, 2, 3});
  private JSONObject entry;

  @BeforeEach
  void make() throws JSONException {
    entry = new JSONObject().put("name", "flowers").put("model", "flowers.tflite");
    entry.put("contract", "flowers.contract.json").put("labels", "flowers.labels.txt");
    entry.put("golden", "flowers.golden.zip").put("bytes", 3).put("ops", 64);
    entry.put("sha256", Golden.sha256(file, 3));
  }

  private static JSONObject index(JSONObject... entries) throws JSONException {
    JSONArray models = new JSONArray();
    for (JSONObject value : entries) models.put(value);
    return new JSONObject().put("schema", 1).put("models", models);
  }

  private static void assertRefused(String json, String said) {
    String message =
        assertThrows(ContractException.class, () -> ModelIndex.parse(json)).getMessage();
    assertTrue(message.contains(said), message);
  }

  @Test
  void right() throws Exception {
    List<ModelIndex.Entry> entries = ModelIndex.parse(index(entry).toString());
    ModelIndex.Entry only = entries.get(0);
    assertEquals(1, entries.size());
    assertEquals("flowers", only.name);
    assertEquals("flowers.tflite", only.model);
    assertEquals("flowers.contract.json", only.contract);
    assertEquals("flowers.golden.zip", only.golden);
    assertEquals(64, only.ops);
    only.check(file);
  }

  @Test
  void withoutGoldenVectorsAndLabels() throws Exception {
    entry.put("golden", JSONObject.NULL).remove("labels");
    assertNull(ModelIndex.parse(index(entry).toString()).get(0).golden);
  }

  @Test
  void withoutModels() throws Exception {
    assertTrue(ModelIndex.parse(index().toString()).isEmpty());
  }

  @Test
  void aModelThatWasChanged() throws Exception {
    ModelIndex.Entry only = ModelIndex.parse(index(entry).toString()).get(0);
    for (byte[] other : new byte[][] {{1, 2, 4}, {1, 2}, {1, 2, 3, 0}}) {
      ContractException error =
          assertThrows(ContractException.class, () -> only.check(ByteBuffer.wrap(other)));
      assertTrue(error.getMessage().contains("flowers.tflite is damaged"), error.getMessage());
    }
  }

  @Test
  void filesThatAreElsewhere() throws JSONException {
    for (String name : new String[] {"../a", "a/b", "a\\b", "/a", "..", ".", "", "a\n", "a..b"}) {
      for (String key : new String[] {"model", "contract", "golden"}) {
        JSONObject changed = new JSONObject(entry.toString()).put(key, name);
        assertRefused(index(changed).toString(), "the file name");
      }
    }
  }

  @Test
  void anIndexThatMakesNoSense() throws JSONException {
    for (String json : new String[] {"", "{", "[]", "null", "{}", "{\"schema\": 1}", "\0"}) {
      assertRefused(json, "The list of models");
    }
    assertRefused(index(entry).put("schema", 2).toString(), "schema 2 (this app reads 1)");
    assertRefused(index(entry, entry).toString(), "two models with the name flowers");
    for (String key : new String[] {"name", "model", "contract", "bytes", "sha256", "ops"}) {
      JSONObject changed = new JSONObject(entry.toString());
      changed.remove(key);
      assertRefused(index(changed).toString(), key);
    }
  }

  @Test
  void numbersThatMakeNoSense() throws JSONException {
    assertRefused(index(entry.put("ops", 0)).toString(), "a model of 0 operators");
    assertRefused(index(entry.put("ops", 1).put("bytes", -3)).toString(), "-3 bytes");
    assertRefused(index(entry.put("bytes", 3).put("sha256", "abc")).toString(), "SHA-256");
    entry.put("sha256", Golden.sha256(file, 3));
    assertRefused(index(entry.put("name", " ")).toString(), "without a name");
  }
}
