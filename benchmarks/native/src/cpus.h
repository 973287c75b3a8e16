// Cores: which there are, which are big and little, and running on some of them only.
#pragma once

#include <string>
#include <vector>

namespace edgekit {

// "0,2-3" as numbers, sorted; empty where it is no such list.
std::vector<int> ParseCoreList(const std::string& text);

// Of the whole machine, whatever this process may use.
std::vector<int> OnlineCores();

// The cores that this process may use.
std::vector<int> AllowedCores();

// Binds this process, and all threads it starts from now on, to `all`, `big`, `little` or a list.
// Returns the cores that the system really set. Throws Failure.
std::vector<int> BindTo(const std::string& affinity);

// The threads of this process now.
int CountThreads();

}  // namespace edgekit
