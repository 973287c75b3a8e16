// The Android plugin compiles Kotlin itself, with the newest Kotlin plugin on this class path. It is
// named here so that it is the one whose compiler edgekit's tests use:
// https://developer.android.com/build/migrate-to-built-in-kotlin
buildscript {
    repositories {
        google()
        mavenCentral()
    }
    dependencies {
        classpath(libs.kotlin.gradle.plugin)
    }
}

plugins {
    alias(libs.plugins.android.application) apply false
}
