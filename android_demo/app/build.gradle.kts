import java.io.StringReader
import java.util.Properties

plugins {
    alias(libs.plugins.android.application)
}

// `edgekit bundle android` writes it; nothing else has to be edited for an app of one's own. (Not
// named `bundle`: within `android` that is another thing.)
val identity =
    Properties().apply {
        val file = rootProject.layout.projectDirectory.file("bundle.properties")
        load(StringReader(providers.fileContents(file).asText.get()))
    }

android {
    namespace = "dev.edgekit.demo"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        applicationId = identity.getProperty("applicationId")
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 1
        versionName = "1.0"
        manifestPlaceholders["appName"] = identity.getProperty("appName")
    }

    androidResources {
        // Models are mapped into memory, so they are stored as they are. An ending without the dot,
        // as in the reference of this DSL.
        noCompress += "tflite"
    }

    packaging {
        jniLibs {
            // Native libraries stay uncompressed and are aligned for pages of 16 KB:
            // https://developer.android.com/guide/practices/page-sizes
            useLegacyPackaging = false
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

dependencies {
    implementation(project(":classifier"))
    implementation(libs.androidx.activity)
    implementation(libs.androidx.camera.camera2)
    implementation(libs.androidx.camera.core)
    implementation(libs.androidx.camera.lifecycle)
    implementation(libs.androidx.camera.view)
    implementation(libs.androidx.core)
    implementation(libs.androidx.exifinterface)
    implementation(libs.litert)
    implementation(libs.litert.gpu)
    implementation(libs.litert.gpu.api)
}
