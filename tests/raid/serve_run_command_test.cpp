// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/run_command.h"
#include "tests/raid/serving.h"

namespace mdtool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RunCommand, gives_the_path_and_the_status) {
  const ScratchFolder scratch;
  const std::string out = scratch.path("out");
  ::setenv("MDTOOL_ARRAY", "old", 1);
  ::setenv("KEPT", "kept", 1);
  const auto status = run_command(
      "printf '%s %s' \"$MDTOOL_ARRAY\" $KEPT > '" + out + "'; env | grep -c ^MDTOOL_ARRAY= >> '" + out + "'; exit 7",
      "/a path/with 'quotes'");
  ::unsetenv("MDTOOL_ARRAY");
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, 7);
  const auto bytes = file_bytes(out);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "/a path/with 'quotes' kept1\n");
}

TEST(RunCommand, death_by_a_signal_is_a_status) {
  EXPECT_EQ(*run_command("kill -KILL $$", ""), 128 + SIGKILL);
  EXPECT_EQ(*run_command("no-such-command-at-all 2>/dev/null", ""), 127);
}

// As mdtool runs it: signals blocked, SIGPIPE ignored.
TEST(RunCommand, starts_as_from_a_shell) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t stop;
    ::sigemptyset(&stop);
    ::sigaddset(&stop, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
    const auto by_term = run_command("kill -TERM $$; exit 1", "");
    const auto by_pipe = run_command("kill -PIPE $$; exit 1", "");
    ::_exit(by_term && by_pipe && *by_term == 128 + SIGTERM && *by_pipe == 128 + SIGPIPE ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RunCommand, signals_go_on_to_the_command) {
  const ScratchFolder scratch;
  const std::string started = scratch.path("started");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto status = run_command("trap 'exit 42' TERM; touch '" + started + "'; while :; do sleep 0.02; done", "");
    ::_exit(status ? *status : 99);
  }
  EXPECT_TRUE(within(seconds(10), [&] { return std::filesystem::exists(started); }));
  ::kill(child, SIGTERM);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

using ServeRunTest = ServingTest;

TEST_F(ServeRunTest, the_command_uses_what_is_served_and_serving_ends_with_it) {
  const ServeOptions options{.at = at_, .name = "n"};
  serve_with(Served::read_write(device_), options, [](const Usable& usable) -> Result<Then> {
    const auto status = run_command(
        "printf hello | dd of=\"$MDTOOL_ARRAY\" conv=fsync status=none && head -c 5 \"$MDTOOL_ARRAY\" | grep -q hello",
        usable.path);
    return status && *status == 0 ? Result<Then>(Then::stop) : Error{ErrorKind::io, "the command failed"};
  });
  EXPECT_EQ(server_end(), 0);
  EXPECT_EQ(std::memcmp(device_.bytes().data(), "hello", 5), 0);
  EXPECT_FALSE(std::filesystem::exists(at_));
}

TEST_F(ServeRunTest, a_signal_ends_the_command_then_the_serving) {
  const ServeOptions options{.at = at_, .name = "n"};
  serve_with(Served::read_write(device_), options, [](const Usable& usable) -> Result<Then> {
    const auto status =
        run_command("exec 3<\"$MDTOOL_ARRAY\"; trap 'exit 3' TERM; while :; do sleep 0.02; done", usable.path);
    return status && *status == 3 ? Result<Then>(Then::stop) : Error{ErrorKind::io, "not forwarded"};
  });
  std::this_thread::sleep_for(milliseconds(200));
  ASSERT_EQ(::kill(server_, SIGTERM), 0);
  EXPECT_EQ(server_end(), 0);
  EXPECT_FALSE(serve::topmost_mount(at_));
}

}  // namespace
}  // namespace mdtool
