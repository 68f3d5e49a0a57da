"""The command line of the compiler, and its exit statuses besides the native codes of furiosa.compiler.errors."""

BAD_ARGUMENTS = 255  # as the vendor's command line has it
INTERRUPTED = 130  # 128 + SIGINT, what shells expect
READER_GONE = 141  # 128 + SIGPIPE
