# 64-bit Android (arm64-v8a) with the NDK, whose folder ANDROID_NDK_HOME names.
#
# Not tried: the machines on which edgekit is made have no NDK. It only chooses the NDK's own
# toolchain file and settings that are documented there.
if(NOT DEFINED ENV{ANDROID_NDK_HOME})
  message(FATAL_ERROR "ANDROID_NDK_HOME is not set; it names the folder of the Android NDK")
endif()
set(ANDROID_ABI arm64-v8a)
set(ANDROID_PLATFORM android-28)  # the first whose C library has glob()
set(ANDROID_STL c++_static)
include($ENV{ANDROID_NDK_HOME}/build/cmake/android.toolchain.cmake)
