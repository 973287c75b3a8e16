import dev.edgekit.classifier.Engagement.Request;
import dev.edgekit.demo.Runtime;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.json.JSONArray;
import org.json.JSONObject;
import org.tensorflow.lite.Fake;

/** Lets Python drive the app's runtime over stand-ins for LiteRT: what it opens, closes and says. */
public final class RuntimeHarness {
  public static void main(String[] arguments) throws Exception {
    JSONObject given = new JSONObject(arguments[0]);
    Fake.refusedAtFirst = given.optString("refused_at_first");
    Fake.refusedWhenRun = given.optString("refused_when_run");
    Fake.unlinked = given.optString("unlinked");
    Fake.plan = given.getInt("plan");
    Fake.errno = given.optInt("errno");
    ByteBuffer input = ByteBuffer.allocateDirect(12).order(ByteOrder.nativeOrder());
    for (int i = 0; i < 12; i++) input.put(i, (byte) (i + 1));
    Request request = Request.valueOf(given.getString("request"));
    JSONArray scores = new JSONArray();
    String said;
    try (Runtime runtime = Runtime.Companion.open(input, given.getInt("ops"), request, 4)) {
      said = runtime.engagement();
      for (int run = 0; run < 2; run++) {
        ByteBuffer output = runtime.run(input);
        for (int i = 0; i < 3; i++) scores.put(output.get(i));
      }
    }
    JSONObject found = new JSONObject().put("said", said).put("scores", scores);
    System.out.println(found.put("events", new JSONArray(Fake.EVENTS)));
  }
}
