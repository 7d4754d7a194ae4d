"""In which order the tests are asked, and how their answers make a verdict."""
