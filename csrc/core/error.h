// Error types of the library and the CHECK macro.
//
// Every failure a user can cause is an `Error` with a kind; the Python module maps kinds to
// exception classes (ShapeError(ValueError, RuntimeError), DTypeError(TypeError, RuntimeError),
// IndexError, ...). The message is built only when the check fails: "op: what was expected, got
// what".
#pragma once

#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace tercel {

enum class ErrorKind : unsigned char {
  Shape,           // wrong rank or size
  DType,           // wrong or unsupported dtype
  Value,           // argument out of its range
  Type,            // wrong kind of argument
  Index,           // index out of range
  Key,             // name not found
  NotImplemented,  // combination not provided; the message lists what exists
  OutOfMemory,
  Overflow,   // size arithmetic does not fit int64
  Buffer,     // memory cannot be shared as asked
  OS,         // file or system call
  Runtime,    // misuse of autograd, devices, state
  Interrupt,  // a signal handler raised; the binding re-raises the pending Python exception
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
  std::string message_;
};

[[noreturn, gnu::cold, gnu::noinline]] void fail(ErrorKind kind, std::string message);

// Concatenates the arguments as text.
template <class... Args>
[[gnu::cold, gnu::noinline]] std::string str(const Args&... args) {
  std::ostringstream out;
  out << std::boolalpha;
  (out << ... << args);
  return out.str();
}

}  // namespace tercel

// TERCEL_CHECK(condition, Kind, "op: expected ", x, ", got ", y)
#define TERCEL_CHECK(condition, kind, ...)                                   \
  do {                                                                       \
    if (!(condition)) [[unlikely]]                                           \
      ::tercel::fail(::tercel::ErrorKind::kind, ::tercel::str(__VA_ARGS__)); \
  } while (0)
