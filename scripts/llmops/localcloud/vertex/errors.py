"""Google's errors: a code, a status, a message, in google.rpc.Status's shape."""

_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_NUMBERS = {  # google.rpc.Code
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


class ApiError(Exception):
    """An error in Google's shape (AIP-193)."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = _CODES[status]

    @property
    def body(self) -> dict[str, object]:
        """As the body of an answer."""
        error = {"code": self.code, "message": self.message, "status": self.status}
        return {"error": error}

    @property
    def rpc_status(self) -> dict[str, object]:
        """As the `error` of a long-running operation."""
        return {"code": _NUMBERS.get(self.status, 2), "message": self.message}


def of_code(code: int, message: str) -> ApiError:
    """The error that this HTTP status stands for."""
    status = next((name for name, each in _CODES.items() if each == code), "INTERNAL")
    return ApiError(status, message)


def not_found(name: str) -> ApiError:
    """For a resource that is not there."""
    return ApiError("NOT_FOUND", f"{name} is not found.")
