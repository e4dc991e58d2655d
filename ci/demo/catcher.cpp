// Reads words, and catches what the library throws about them.
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>

void refuse(const std::string &word);

thread_local int caught = 0;

int main() {
    std::map<std::string, std::size_t> lengths;
    for (std::string word; std::cin >> word;) {
        try {
            refuse(word);
            lengths[word] = word.size();
            std::cout << word << ": fine" << std::endl;
        } catch (const std::length_error &error) {
            ++caught;
            std::cout << "caught: " << error.what() << std::endl;
        }
    }
    int caught_there = -1;
    std::thread([&] { caught_there = caught; }).join();
    std::cout << caught << " caught here, " << caught_there << " in another thread" << std::endl;
    for (const auto &[word, length] : lengths)
        std::cout << word << " " << length << std::endl;
    return 5;
}
