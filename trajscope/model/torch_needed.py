"""What is said where torch is missing: everything but gradients works without it."""

from trajscope.errors import OptionError


def check_torch(purpose: str) -> None:
    """Refuse what cannot be computed without torch.

    Parameters
    ----------
    purpose :
        The subject of the sentence: "Gradient noise".

    Raises
    ------
    OptionError
        torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"{purpose} is computed with torch, which cannot be imported ({error}). Install it "
            "with: pip install 'trajscope[torch]'"
        ) from error
