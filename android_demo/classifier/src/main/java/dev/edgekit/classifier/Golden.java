package dev.edgekit.classifier;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** Golden vectors: pictures with the bytes that are right for them, as edgekit keeps them. */
public final class Golden {
  /** One picture. */
  public static final class Vector {
    public final String name;

    /** A PNG file. */
    public final byte[] picture;

    public final String decodedSha256;
    public final String fittedSha256;
    public final byte[] input;
    public final byte[] output;

    /** The class that it must be given, or -1. */
    public final int answer;

    private Vector(JSONObject entry, Map<String, byte[]> files)
        throws JSONException, ContractException {
      name = entry.getString("name");
      picture = file(files, name + ".png");
      input = file(files, name + ".input");
      output = file(files, name + ".output");
      decodedSha256 = entry.getString("decoded_sha256");
      fittedSha256 = entry.getString("fitted_sha256");
      answer = entry.isNull("answer") ? -1 : entry.getInt("answer");
    }
  }

  private static final int SCHEMA = 1;
  private static final int MOST_BYTES = 64 << 20;

  public final Contract contract;
  public final TensorSpec input;
  public final TensorSpec output;
  public final List<Vector> vectors;
  private final int graphBytes;
  private final String graphSha256;

  private Golden(JSONObject index, Map<String, byte[]> files)
      throws JSONException, ContractException {
    int schema = index.getInt("schema");
    if (schema != SCHEMA) {
      throw new ContractException("Golden vectors of schema " + schema + ": not known here.");
    }
    JSONObject model = index.getJSONObject("model");
    graphBytes = model.getInt("graph_bytes");
    graphSha256 = model.getString("graph_sha256");
    contract = Contract.of(index.getJSONObject("contract"));
    input = spec(index.getJSONObject("input"));
    output = spec(index.getJSONObject("output"));
    List<Vector> found = new ArrayList<>();
    JSONArray entries = index.getJSONArray("vectors");
    for (int i = 0; i < entries.length(); i++) {
      Vector vector = new Vector(entries.getJSONObject(i), files);
      if (vector.input.length != input.size * input.type.bytes
          || vector.output.length != output.size * output.type.bytes) {
        throw new ContractException("The golden vector " + vector.name + " has another size.");
      }
      found.add(vector);
    }
    if (found.isEmpty()) throw new ContractException("There are no golden vectors.");
    vectors = Collections.unmodifiableList(found);
  }

  /**
   * Reads the zip.
   *
   * @throws ContractException It is damaged, or of a newer schema.
   * @throws IOException The stream can't be read.
   */
  public static Golden read(InputStream zip) throws ContractException, IOException {
    Map<String, byte[]> files = new HashMap<>();
    try (ZipInputStream in = new ZipInputStream(zip)) {
      for (ZipEntry entry = in.getNextEntry(); entry != null; entry = in.getNextEntry()) {
        files.put(entry.getName(), all(in));
      }
    } catch (IllegalArgumentException | java.util.zip.ZipException error) {
      throw new ContractException("The golden vectors are damaged.", error);
    }
    try {
      byte[] index = file(files, "golden.json");
      return new Golden(new JSONObject(new String(index, StandardCharsets.UTF_8)), files);
    } catch (JSONException error) {
      throw new ContractException("golden.json makes no sense: " + error.getMessage(), error);
    }
  }

  /** Whether they are of this model: its bytes, with or without the zip behind them. */
  public boolean isOf(ByteBuffer model) {
    if (model.capacity() < graphBytes || graphBytes < 0) return false;
    return sha256(model, graphBytes).equals(graphSha256);
  }

  /** Of the first bytes, which aren't copied: a model may be mapped into memory. */
  static String sha256(ByteBuffer data, int length) {
    ByteBuffer part = data.duplicate();
    Buffers.rewind(part);
    Buffers.limit(part, length);
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(part);
      StringBuilder text = new StringBuilder();
      for (byte value : digest.digest()) text.append(String.format("%02x", value));
      return text.toString();
    } catch (NoSuchAlgorithmException error) {
      throw new AssertionError("every Java has SHA-256", error);
    }
  }

  private static byte[] file(Map<String, byte[]> files, String name) throws ContractException {
    byte[] content = files.get(name);
    if (content == null) throw new ContractException("The golden vectors lack " + name + ".");
    return content;
  }

  private static byte[] all(InputStream in) throws IOException, ContractException {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    byte[] block = new byte[8192];
    for (int read = in.read(block); read >= 0; read = in.read(block)) {
      content.write(block, 0, read);
      if (content.size() > MOST_BYTES) {
        throw new ContractException("A golden vector takes more than 64 MiB.");
      }
    }
    return content.toByteArray();
  }

  private static TensorSpec spec(JSONObject values) throws JSONException, ContractException {
    TensorSpec.Type type = TensorSpec.Type.of(values.getString("dtype"));
    long size = 1;
    JSONArray shape = values.getJSONArray("shape");
    for (int i = 0; i < shape.length(); i++) size *= shape.getInt(i);
    if (size < 1 || size > MOST_BYTES) throw new ContractException("A tensor of " + size + " values.");
    boolean quantized = type != TensorSpec.Type.FLOAT32;
    return new TensorSpec(
        type,
        (int) size,
        quantized ? (float) values.getDouble("scale") : 1,
        quantized ? values.getInt("zero_point") : 0);
  }
}
