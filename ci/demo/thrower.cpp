// A library that throws: the exception crosses from this file's code into the program's.
#include <stdexcept>
#include <string>

void refuse(const std::string &word) {
    if (word.size() > 5)
        throw std::length_error(word + " is too long");
}
