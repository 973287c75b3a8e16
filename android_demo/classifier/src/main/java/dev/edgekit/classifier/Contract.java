package dev.edgekit.classifier;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * How a picture becomes a model's input, and what its outputs mean: {@code edgekit.json}, as edgekit
 * packs it into every .tflite file.
 */
public final class Contract {
  private static final int SCHEMA = 1;
  private static final int MOST_PIXELS = 8192;

  public final int height;
  public final int width;

  /** Three grey levels each, in {@link #isBgr}'s order. */
  public final double[] mean;

  public final double[] std;
  public final boolean isBgr;

  /** {@code stretch}, {@code crop} or {@code pad}. */
  public final String fit;

  public final double cropFraction;

  /** One for each class, or empty where they are not known. */
  public final List<String> labels;

  /** Whether the outputs are probabilities already; otherwise logits. */
  public final boolean givesProbabilities;

  private Contract(JSONObject values) throws JSONException, ContractException {
    height = values.getInt("height");
    width = values.getInt("width");
    require(height >= 1 && height <= MOST_PIXELS, "height " + height);
    require(width >= 1 && width <= MOST_PIXELS, "width " + width);
    mean = three(values.getJSONArray("mean"), "mean");
    std = three(values.getJSONArray("std"), "std");
    for (double value : std) require(value > 0, "std " + value);
    isBgr = choice(values, "colour_order", "RGB", "BGR").equals("BGR");
    fit = choice(values, "fit", "stretch", "crop", "pad");
    cropFraction = values.getDouble("crop_fraction");
    require(cropFraction > 0 && cropFraction <= 1, "crop fraction " + cropFraction);
    String interpolation = values.getString("interpolation");
    require(
        interpolation.equals("exact"),
        "interpolation "
            + interpolation
            + ", which isn't the same everywhere. Convert the model with --interpolation exact;"
            + " it is");
    labels = names(values.isNull("labels") ? null : values.getJSONArray("labels"));
    givesProbabilities =
        choice(values, "output", "logits", "probabilities").equals("probabilities");
  }

  /**
   * Reads {@code edgekit.json}.
   *
   * @throws ContractException It is none, or one of a newer schema.
   */
  public static Contract parse(String json) throws ContractException {
    try {
      JSONObject document = new JSONObject(json);
      int schema = document.getInt("schema");
      require(schema == SCHEMA, "schema " + schema + " (this app reads " + SCHEMA + "): it");
      return new Contract(document.getJSONObject("contract"));
    } catch (JSONException error) {
      throw new ContractException("The contract can't be read: " + error.getMessage(), error);
    }
  }

  /** The contract inside {@code golden.json}, which has no schema of its own. */
  static Contract of(JSONObject values) throws JSONException, ContractException {
    return new Contract(values);
  }

  /** The name of a class; its number where the names are not known. */
  public String label(int index) {
    return index < labels.size() ? labels.get(index) : Integer.toString(index);
  }

  private static double[] three(JSONArray values, String name)
      throws JSONException, ContractException {
    require(values.length() == 3, name + " of " + values.length() + " values");
    double[] result = new double[3];
    for (int i = 0; i < 3; i++) {
      result[i] = values.getDouble(i);
      require(!Double.isNaN(result[i]) && !Double.isInfinite(result[i]), name + " " + result[i]);
    }
    return result;
  }

  private static List<String> names(JSONArray values) throws JSONException {
    List<String> result = new ArrayList<>();
    for (int i = 0; values != null && i < values.length(); i++) result.add(values.getString(i));
    return Collections.unmodifiableList(result);
  }

  private static String choice(JSONObject values, String name, String... choices)
      throws JSONException, ContractException {
    String value = values.getString(name);
    for (String choice : choices) if (choice.equals(value)) return value;
    throw new ContractException("The contract has " + name + " " + value + ": not known here.");
  }

  private static void require(boolean holds, String what) throws ContractException {
    if (!holds) throw new ContractException("The contract has " + what + " can't be used.");
  }
}
