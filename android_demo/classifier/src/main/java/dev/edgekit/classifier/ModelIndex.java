package dev.edgekit.classifier;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** {@code models/index.json}: which models an app carries, as {@code edgekit bundle} writes it. */
public final class ModelIndex {
  /** One model and the files that belong to it, all in the index's own folder. */
  public static final class Entry {
    /** What the user calls it. */
    public final String name;

    public final String model;
    public final String contract;

    /** The golden vectors' file, or null: nothing proves this model. */
    public final String golden;

    /** All operators in the model file. */
    public final int ops;

    private final long bytes;
    private final String sha256;

    private Entry(JSONObject values) throws JSONException, ContractException {
      name = values.getString("name");
      model = file(values, "model");
      contract = file(values, "contract");
      golden = values.isNull("golden") ? null : file(values, "golden");
      ops = values.getInt("ops");
      bytes = values.getLong("bytes");
      sha256 = values.getString("sha256").toLowerCase(Locale.ROOT);
      require(!name.trim().isEmpty(), "a model without a name");
      require(ops >= 1, "a model of " + ops + " operators");
      require(bytes >= 1, "a model of " + bytes + " bytes");
      require(sha256.matches("[0-9a-f]{64}"), "the SHA-256 " + sha256);
    }

    /**
     * Compares the model file with what the index says of it.
     *
     * @throws ContractException It is another one, or damaged.
     */
    public void check(ByteBuffer file) throws ContractException {
      if (file.capacity() != bytes || !Golden.sha256(file, file.capacity()).equals(sha256)) {
        throw new ContractException(
            model + " is damaged or was changed: bundle the app again with edgekit.");
      }
    }
  }

  private static final int SCHEMA = 1;

  private ModelIndex() {}

  /**
   * Reads the index.
   *
   * @throws ContractException It makes no sense, or is of a newer schema.
   */
  public static List<Entry> parse(String json) throws ContractException {
    try {
      JSONObject document = new JSONObject(json);
      int schema = document.getInt("schema");
      require(schema == SCHEMA, "schema " + schema + " (this app reads " + SCHEMA + ")");
      JSONArray models = document.getJSONArray("models");
      List<Entry> entries = new ArrayList<>();
      Set<String> names = new HashSet<>();
      for (int i = 0; i < models.length(); i++) {
        Entry entry = new Entry(models.getJSONObject(i));
        require(names.add(entry.name), "two models with the name " + entry.name);
        entries.add(entry);
      }
      return Collections.unmodifiableList(entries);
    } catch (JSONException error) {
      throw new ContractException(
          "The list of models makes no sense: " + error.getMessage(), error);
    }
  }

  /** A file beside the index: its name may not lead anywhere else. */
  private static String file(JSONObject values, String key)
      throws JSONException, ContractException {
    String name = values.getString(key);
    require(
        name.matches("[^/\\\\\\p{Cntrl}]+") && !name.contains("..") && !name.equals("."),
        "the file name \"" + name + "\"");
    return name;
  }

  private static void require(boolean holds, String what) throws ContractException {
    if (!holds) {
      throw new ContractException("The list of models has " + what + ": it can't be used.");
    }
  }
}
